//! The integration tests: one program, which takes far less time to link than a program for each file.
//!
//! Tests that measure a process, or look at the pages of their own, are programs of their own beside this folder. All
//! others run in one process, as threads: none may change what a process has once, its directory, environment, umask,
//! limits or signals. What needs that does it in a child.

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a helper that fails is a test that fails"
)]

mod archive;
mod archive_queries;
mod bounds;
mod common;
mod completions;
mod convert;
mod core_files;
mod crash_dump;
mod custody;
mod debuggers;
mod decrypt;
mod demo_machine;
mod direct_map;
mod disks;
mod dmesg;
mod dump;
mod dump_command;
mod dump_formats;
mod dump_sinks;
mod examples;
mod files_in_use;
mod help;
mod images;
mod images_qemu;
mod in_place;
mod inspect;
mod isf;
mod json;
mod kernel_cpus;
mod kernel_fixture;
mod kernel_memory;
mod kernel_open;
mod kernel_search;
mod kernel_texts;
mod layers;
mod lines;
#[cfg(feature = "tls")]
mod lines_tls;
mod livedump;
mod livedump_arm64;
mod livedump_dir;
mod livedump_riscv;
mod livedump_user;
mod machine_file;
mod manual;
mod map;
mod map_html;
mod map_machine;
mod maps;
mod maps_dump;
mod network_kernel;
mod packaging;
mod paddr;
mod page_table_root;
mod print;
mod print_arithmetic;
mod print_modules;
mod print_storage;
mod ps;
mod ps_details;
mod ranges;
mod ranges_machines;
mod read;
mod real_dumps;
mod receive;
mod recipients;
mod relocated_kernel;
mod report;
mod report_files;
mod report_html;
mod report_large;
mod report_sections;
mod rules_model;
mod save;
mod save_elsewhere;
mod save_log;
mod schemas;
mod show;
mod show_buffers;
mod show_cam;
mod show_credentials;
mod show_devices;
mod show_geom;
mod show_implausible_objects;
mod show_network;
mod show_objects;
mod show_pages;
mod show_protocols;
mod show_routes;
mod show_scheduling;
mod show_waiting;
mod signatures;
mod snapshots;
mod stack;
mod standard_input;
mod standard_output;
mod stores;
mod symbols;
mod symbols_table;
mod type_table;
mod typed_kernel;
mod types;
mod types_debug_info;
mod types_modules;
mod usage;
mod virtual_memory;
mod vmcore_builder;
mod vmcore_layout;
mod web;
mod without;
