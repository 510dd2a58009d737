//! What outlives a snapshot: in-flight counts, health and connections of each backend.
