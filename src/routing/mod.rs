//! The only bridge between the planes: Config compiled to the Snapshot the data plane reads.
