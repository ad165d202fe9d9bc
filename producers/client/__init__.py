"""The API for programs: submit jobs, wait for their ends, read records, cancel."""
