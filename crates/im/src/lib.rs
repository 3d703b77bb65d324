//! im
