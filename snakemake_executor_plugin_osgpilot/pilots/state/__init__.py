"""What is known of the pilots, and the decisions about them. Pure: no I/O, no clock.

inventory         all pilots of a run
lifecycle         the states of a pilot, and what moves it from one to the next
health            nodes and kinds of pilots that fail
leaving           pilots that were asked to end
circuit_breaker   pauses submission while pilots keep failing
"""
