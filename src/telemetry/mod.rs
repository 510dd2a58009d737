//! What is seen from outside: tracing set-up, metrics, access log.
