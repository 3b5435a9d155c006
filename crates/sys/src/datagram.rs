//! Sends datagrams to a Unix socket that has a name, and that may come and go. Caller: the engine, for telemetry.

use std::io;
use std::os::fd::AsFd;

use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::net::{self, AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::forked::{self, Private};

/// A socket, and whom it sends to. Forked processes have no copy of it.
#[derive(Debug)]
pub struct Sender {
    socket: Private,
    target: SocketAddrUnix,
}

impl Sender {
    /// A socket for datagrams to the socket at `path`, which need not exist yet. `room`: the send buffer, bytes.
    ///
    /// # Errors
    /// The path is too long for a socket's address, or what socket and setsockopt say.
    pub fn open(path: &str, room: usize) -> io::Result<Sender> {
        let target = SocketAddrUnix::new(path)?;
        let socket = forked::while_none_forks(|| {
            net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).map(Private::new)
        })?;
        set_socket_send_buffer_size(socket.as_fd(), room)?;
        Ok(Sender { socket, target })
    }

    /// Sends a datagram without waiting. No SIGPIPE.
    ///
    /// # Errors
    /// What sendto says. `WouldBlock`: the receiver has not taken those before it.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        net::sendto(self.socket.as_fd(), bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT, &self.target)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn a_receiver_may_come_and_go_and_be_full() {
        let folder = std::env::temp_dir().join(format!("datagram-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("socket");
        let name = path.to_str().expect("UTF-8");
        let sender = Sender::open(name, 65536).expect("a socket");
        let kind = |sent: io::Result<()>| sent.map_err(|error| error.kind());
        assert_eq!(kind(sender.send(b"x")), Err(io::ErrorKind::NotFound));
        for _ in 0..2 {
            let receiver = UnixDatagram::bind(&path).expect("bound");
            assert_eq!(kind(sender.send(b"hello")), Ok(()));
            let mut buffer = [0; 16];
            assert_eq!(receiver.recv(&mut buffer).expect("a datagram"), 5);
            let full = (0..100_000).find_map(|_| kind(sender.send(b"x")).err());
            assert_eq!(full, Some(io::ErrorKind::WouldBlock));
            drop(receiver);
            assert_eq!(kind(sender.send(b"x")), Err(io::ErrorKind::ConnectionRefused));
            std::fs::remove_file(&path).expect("there");
        }
        std::fs::remove_dir(&folder).expect("empty");
    }

    #[test]
    fn a_path_has_a_limit() {
        let open = |length: usize| Sender::open(&format!("/{}", "x".repeat(length - 1)), 65536);
        assert!(open(108).is_ok());
        assert!(open(109).is_err());
    }
}
