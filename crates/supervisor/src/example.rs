//! A pool's configuration for unit tests.

use wsgi_wire::pool::PoolConfig;

/// A pool with one process and nothing unusual.
pub fn pool() -> PoolConfig {
    PoolConfig {
        id: 1,
        name: "site".to_owned(),
        defined_at: "httpd.conf:3".to_owned(),
        processes: 1,
        threads: 2,
        multiprocess: false,
        python: "/usr/bin/python3".to_owned(),
        python_from: "the default".to_owned(),
        identity: None,
        home: None,
        in_users_home: false,
        umask: None,
        display_name: None,
        env: Vec::new(),
        utf8_mode: true,
        python_path: Vec::new(),
        layers: Vec::new(),
        main_script: None,
        preload: Vec::new(),
        maximum_requests: 0,
        inactivity_timeout_ms: 0,
        shutdown_timeout_ms: 5_000,
        graceful_timeout_ms: 15_000,
        case_insensitive: false,
        log_level: 6,
        apache_version: (2, 4, 62),
    }
}
