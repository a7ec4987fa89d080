//! nginx, as a server of WebDAV.

use super::certificates::CERTIFICATES;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A server of its own, with a folder that it takes files for by PUT.
pub struct Nginx {
    child: Child,
    pub port: u16,
    folder: TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its master ends the others, if it is asked to.
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.child.id() as i32),
            nix::sys::signal::Signal::SIGTERM,
        );
        let _ = self.child.wait();
    }
}

impl Nginx {
    /// Starts one; `more` are lines of its configuration for files.
    pub fn start(more: &str) -> Self {
        Self::start_with(more, "", "")
    }

    /// Starts one that speaks TLS, with that certificate.
    pub fn start_with_tls(certificate: &str) -> Self {
        let files = [".pem", ".key"].map(|ending| CERTIFICATES.file(&format!("{certificate}{ending}")));
        let [certificate, key] = files;
        Self::start_with("", "ssl", &format!("ssl_certificate {certificate}; ssl_certificate_key {key};"))
    }

    fn start_with(more: &str, listens: &str, tls: &str) -> Self {
        let folder = super::directory();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let here = folder.path().display();
        let configuration = format!(
            "worker_processes 1; daemon off; pid {here}/pid; error_log {here}/errors; {}
            events {{}}
            http {{
                access_log off; client_body_temp_path {here}/incoming; client_max_body_size 0;
                proxy_temp_path {here}/p; fastcgi_temp_path {here}/f; uwsgi_temp_path {here}/u; scgi_temp_path {here}/s;
                server {{ listen 127.0.0.1:{port} {listens}; {tls} root {here}/files; location / {{ dav_methods PUT; {more} }} }}
            }}",
            // Root's workers would be somebody else, who may not write here.
            if nix::unistd::geteuid().is_root() { "user root;" } else { "" }
        );
        std::fs::create_dir(folder.path().join("files")).unwrap();
        std::fs::write(folder.path().join("nginx.conf"), configuration).unwrap();
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-e").arg(folder.path().join("errors")).arg("-c").arg(folder.path().join("nginx.conf"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut nginx = Self { child, port, folder };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let errors = || std::fs::read_to_string(nginx.folder.path().join("errors"));
            assert!(nginx.child.try_wait().unwrap().is_none(), "{:?}", errors());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        nginx
    }

    /// A file of that name, which may not be there.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("files").join(name)
    }

    /// What it has, and what it has begun to receive.
    pub fn names(&self) -> (Vec<String>, Vec<String>) {
        (super::names(&self.file("")), super::names(&self.folder.path().join("incoming")))
    }
}
