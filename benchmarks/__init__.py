"""What is fast, and against what: every figure beside a floor measured in the same run."""
