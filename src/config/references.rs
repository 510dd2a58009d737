//! References between resources, checked on the result of a transaction: a route names only pools that are there.
