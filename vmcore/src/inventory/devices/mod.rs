//! Devices and disks: the tree of devices, GEOM, CAM, the buffer cache, and what is under way to each.

pub mod buffers;
pub mod cam;
pub mod device_statistics;
pub mod device_tree;
mod firmware;
pub mod geom;
mod operation;
