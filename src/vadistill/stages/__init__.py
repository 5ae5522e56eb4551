"""One module a rule of the workflow: arguments in, one file out."""
