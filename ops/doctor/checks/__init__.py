"""Pure functions from facts to findings, one module for each thing that is looked at."""
