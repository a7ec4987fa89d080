//! The network, as netstat(1) shows it: connections, of each network stack.

pub mod connections;
mod counter_array;
mod interface_list;
pub mod interfaces;
pub mod listen_queues;
pub mod mbufs;
mod owners;
mod protocol_sentences;
pub mod protocols;
mod radix_tree;
pub mod routes;
mod sockaddr;
mod socket_reader;
mod sockets;
mod stacks;

pub use counter_array::{CounterValue, NamedCounter};
pub use sockaddr::Network;
pub use sockets::{InternetSocket, ListenQueue, SocketState, TcpState, UnixSocket};
pub use stacks::NetworkStack;
