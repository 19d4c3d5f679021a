// The slip's page prints itself when somebody says so; without script the browser's own command does.

const button = document.getElementById("print");
button.hidden = false;
button.addEventListener("click", () => window.print());
button.focus();
