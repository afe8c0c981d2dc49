//! Both roles as they are built for real, over the in-memory journal, a temporary table and real HTTP.

mod app;
mod door;
mod writing;
