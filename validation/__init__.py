"""Is this portrait acceptable: face landmarks, measures, the rule table, profiles, the report."""
