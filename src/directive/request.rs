//! Values that directories may have.

use std::sync::Arc;

use super::arguments::{only, some};
use super::config::RequestConfig;
use super::error::Outcome;
use super::place::Place;
use super::table::{Id, Row};
use super::values::{bad, group, header, switch, switch_or_auto, word};
use super::{DirectiveError, Subnet, scripts};

/// Reads the arguments of the directive `row` into `values`.
pub(super) fn set(row: &Row, args: &[u8], place: &Place<'_>, values: &mut RequestConfig) -> Outcome {
    let name = row.name_str();
    if let Some(place) = switch_of(row.id, values) {
        *place = Some(switch(name, &only(row, args)?)?);
        return Ok(());
    }
    match row.id {
        Id::CallableObject => values.callable_object = Some(word(name, &only(row, args)?)?),
        Id::ProcessGroup => values.process_group = Some(group(name, &only(row, args)?)?),
        Id::ApplicationGroup => values.application_group = Some(group(name, &only(row, args)?)?),
        Id::RestrictProcess => {
            // An empty word is embedded mode, too.
            let read = |given: Vec<u8>| if given.is_empty() { Ok(given[..].into()) } else { group(name, &given) };
            let groups = super::words::Words::new(args).map(read);
            values.restrict_process = Some(groups.collect::<Result<_, _>>()?);
        }
        Id::MapHEADToGET => values.map_head_to_get = Some(switch_or_auto(name, &only(row, args)?)?),
        Id::TrustedProxyHeaders => {
            collect(&mut values.trusted_proxy_headers, row, args, |given| header(name, given))?;
        }
        Id::TrustedProxies => {
            let allowed = "must be an IPv4 or IPv6 address, or a subnet such as 10.0.0.0/8 or fd00::/8";
            collect(&mut values.trusted_proxies, row, args, |given| {
                Subnet::parse(given).ok_or_else(|| bad(name, given, allowed))
            })?;
        }
        Id::HandlerScript => {
            let script = Arc::new(scripts::handler(row, args)?);
            values.handler_scripts.retain(|other| other.handler != script.handler);
            values.handler_scripts.push(script);
        }
        Id::DispatchScript => values.dispatch_script = Some(scripts::script(row, args, place)?),
        Id::AccessScript => values.access_script = Some(scripts::script(row, args, place)?),
        Id::AuthUserScript => values.auth_user_script = Some(scripts::script(row, args, place)?),
        Id::AuthGroupScript => values.auth_group_script = Some(scripts::script(row, args, place)?),
        // Every row that directories may have is above; a test walks them.
        _ => return Err(DirectiveError::Place { directive: name, section: "a directory" }),
    }
    Ok(())
}

/// Where the value of a directive stands that takes On or Off.
fn switch_of(id: Id, values: &mut RequestConfig) -> Option<&mut Option<bool>> {
    match id {
        Id::PassAuthorization => Some(&mut values.pass_authorization),
        Id::ScriptReloading => Some(&mut values.script_reloading),
        Id::ErrorOverride => Some(&mut values.error_override),
        Id::ChunkedRequest => Some(&mut values.chunked_request),
        Id::IgnoreActivity => Some(&mut values.ignore_activity),
        Id::EnableSendfile => Some(&mut values.enable_sendfile),
        Id::PassApacheRequest => Some(&mut values.pass_apache_request),
        Id::GroupAuthoritative => Some(&mut values.group_authoritative),
        _ => None,
    }
}

/// Adds the arguments to the list of this scope.
fn collect<T: Clone>(
    list: &mut Option<Arc<[T]>>,
    row: &Row,
    args: &[u8],
    read: impl Fn(&[u8]) -> Result<T, DirectiveError>,
) -> Outcome {
    let mut all = list.as_deref().map(<[T]>::to_vec).unwrap_or_default();
    for given in some(row, args)? {
        all.push(read(&given)?);
    }
    *list = Some(all.into());
    Ok(())
}
