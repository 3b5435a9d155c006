//! What httpd asks scripts that decide: the hook of `WSGIAccessScript`, and the providers `wsgi` (`AuthBasicProvider`,
//! `AuthDigestProvider`) and `wsgi-group` (`Require`). mod_auth.h has the providers' contract.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;

use wsgi_wire::messages::Message;

use crate::decide::{self, Access, Login, Membership};
use crate::httpd::bindings;
use crate::httpd::guard::guard;
use crate::httpd::request::Request;
use crate::httpd::{bytes, words};

static LOGIN: bindings::authn_provider =
    bindings::authn_provider { check_password: Some(check_password), get_realm_hash: Some(get_realm_hash) };

static GROUP: bindings::authz_provider =
    bindings::authz_provider { check_authorization: Some(check_authorization), parse_require_line: None };

/// Modules that look at access before ours: mod_ssl may refuse a client without a certificate.
static AFTER: super::entries::Order<2> = super::entries::Order([c"mod_ssl.c".as_ptr(), ptr::null()]);
/// And those that do so after ours.
static BEFORE: super::entries::Order<2> = super::entries::Order([c"mod_authz_host.c".as_ptr(), ptr::null()]);

/// # Safety
/// httpd registers the module's hooks and passes its configuration's pool.
pub(super) unsafe fn register(pool: *mut bindings::apr_pool_t) {
    // An internal redirect or a subrequest with the same configuration is not checked again, as with httpd's own modules.
    let once = bindings::AP_AUTH_INTERNAL_PER_CONF as c_int;
    let middle = bindings::APR_HOOK_MIDDLE as c_int;
    // SAFETY: the names are constants, the providers and order lists static; the function matches the hook's type.
    unsafe {
        bindings::ap_hook_check_access(Some(access_checker), AFTER.0.as_ptr(), BEFORE.0.as_ptr(), middle, once);
        let version = c"0".as_ptr();
        let (authn, authz) = (c"authn".as_ptr(), c"authz".as_ptr());
        bindings::ap_register_auth_provider(pool, authn, c"wsgi".as_ptr(), version, (&raw const LOGIN).cast(), once);
        bindings::ap_register_auth_provider(
            pool,
            authz,
            c"wsgi-group".as_ptr(),
            version,
            (&raw const GROUP).cast(),
            once,
        );
    }
}

/// # Safety
/// httpd passes a request that stays valid until this returns.
unsafe extern "C" fn access_checker(r: *mut bindings::request_rec) -> c_int {
    const FORBIDDEN: c_int = bindings::HTTP_FORBIDDEN as c_int;
    // SAFETY: the contract above.
    let Some(request) = (unsafe { Request::from_raw(r) }) else { return FORBIDDEN };
    guard(
        FORBIDDEN,
        |panic| request.report(Message::Internal, panic),
        || match decide::access(request) {
            None | Some(Access::Open) => bindings::DECLINED,
            Some(Access::Granted) => bindings::OK as c_int,
            Some(Access::Denied) => FORBIDDEN,
        },
    )
}

const FAILED: bindings::authn_status = bindings::authn_status_AUTH_GENERAL_ERROR;

/// # Safety
/// httpd passes a request that stays valid until this returns, and C strings.
unsafe extern "C" fn check_password(
    r: *mut bindings::request_rec,
    user: *const c_char,
    password: *const c_char,
) -> bindings::authn_status {
    // SAFETY: the contract above.
    let (request, user, password) = unsafe { (Request::from_raw(r), bytes(user), bytes(password)) };
    let Some(request) = request else { return FAILED };
    guard(
        FAILED,
        |panic| request.report(Message::Internal, panic),
        || match decide::password(request, user, password) {
            Login::Granted(name) => {
                if let Some(name) = name {
                    request.set_user(&name);
                }
                bindings::authn_status_AUTH_GRANTED
            }
            Login::Denied => bindings::authn_status_AUTH_DENIED,
            Login::Unknown => bindings::authn_status_AUTH_USER_NOT_FOUND,
            Login::Failed => FAILED,
        },
    )
}

/// # Safety
/// httpd passes a request that stays valid until this returns, C strings, and a place for a C string.
unsafe extern "C" fn get_realm_hash(
    r: *mut bindings::request_rec,
    user: *const c_char,
    realm: *const c_char,
    rethash: *mut *mut c_char,
) -> bindings::authn_status {
    // SAFETY: the contract above.
    let (request, user, realm) = unsafe { (Request::from_raw(r), bytes(user), bytes(realm)) };
    let Some(request) = request else { return FAILED };
    guard(
        FAILED,
        |panic| request.report(Message::Internal, panic),
        || match decide::realm_hash(request, user, realm) {
            Login::Granted(Some(hash)) => {
                let hash = request.pool().string(&hash);
                // SAFETY: the contract above; the hash lives in the request's pool.
                unsafe { *rethash = hash };
                bindings::authn_status_AUTH_USER_FOUND
            }
            Login::Denied => bindings::authn_status_AUTH_DENIED,
            Login::Unknown => bindings::authn_status_AUTH_USER_NOT_FOUND,
            Login::Granted(None) | Login::Failed => FAILED,
        },
    )
}

/// # Safety
/// httpd passes a request that stays valid until this returns, and the arguments of `Require` as a C string.
unsafe extern "C" fn check_authorization(
    r: *mut bindings::request_rec,
    require_line: *const c_char,
    _parsed: *const c_void,
) -> bindings::authz_status {
    const DENIED: bindings::authz_status = bindings::authz_status_AUTHZ_DENIED;
    // SAFETY: the contract above.
    let Some(request) = (unsafe { Request::from_raw(r) }) else { return DENIED };
    let Some(user) = request.user() else { return bindings::authz_status_AUTHZ_DENIED_NO_USER };
    guard(
        DENIED,
        |panic| request.report(Message::Internal, panic),
        || {
            // SAFETY: the contract above.
            let wanted = unsafe { words(request.pool(), require_line) };
            match decide::membership(request, user, &wanted) {
                Membership::Member => bindings::authz_status_AUTHZ_GRANTED,
                Membership::None => DENIED,
            }
        },
    )
}
