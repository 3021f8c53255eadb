"""The state of the pilots, and the decisions about them. Pure: no I/O, no clock.

inventory         all pilots of a run
lifecycle         the states of a pilot and their transitions
log_ends          why a pilot failed, from the end of its log
health            faulty nodes and pilot types, and notices to end at once
circuit_breaker   circuit breaker and backoff for pilot submission
"""
