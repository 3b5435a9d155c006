//! Tells the engine for which Python it is built: the cfgs of PyO3 (`Py_GIL_DISABLED`), and the version, which only counts
//! where the engine is for one version.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    pyo3_build_config::use_pyo3_cfgs();
    let version = pyo3_build_config::get().target_abi().version();
    println!("cargo:rustc-env=WSGI_ENGINE_PYTHON={}.{}", version.major, version.minor);
}
