//! Arguments to the command line, nothing else.

fn main() {}
