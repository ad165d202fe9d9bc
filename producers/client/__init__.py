"""What programs use: submitting jobs, waiting for their ends, reading records, cancelling."""
