"""What the rules measure: one function for each row of the rule table, grouped by what it looks at."""
