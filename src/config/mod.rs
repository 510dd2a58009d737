//! The replicated value: pools, routes and policies at one revision. Pure.
