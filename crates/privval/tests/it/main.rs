//! Tests of the privval wire through its public face.
mod answers;
mod frames;
mod properties;
mod rules;
mod tree;
