//! The API over a real replica of one voter.
