//! Writes httpd.conf. Pure: from the plan to text. `server.rs` has httpd's own part, `python.rs` the part of the
//! module, `site.rs` virtual hosts and content.

mod lines;
mod python;
mod server;
mod site;
mod sizes;

#[cfg(test)]
mod tests;

use lines::Conf;

use crate::plan::Plan;

/// The whole httpd.conf.
pub fn httpd_conf(plan: &Plan) -> String {
    let mut conf = Conf::default();
    conf.comment("Made by mod_wsgi-express; the next run writes it anew. Directives of your own: --include-file FILE.");
    server::identity(&mut conf, plan);
    server::modules(&mut conf, plan);
    server::process_model(&mut conf, plan);
    server::limits(&mut conf, plan);
    server::logs(&mut conf, plan);
    python::interpreter(&mut conf, plan);
    python::process_group(&mut conf, plan);
    python::requests(&mut conf, plan);
    site::hosts(&mut conf, plan);
    site::documents(&mut conf, plan);
    site::access(&mut conf, plan);
    site::responses(&mut conf, plan);
    site::status(&mut conf, plan);
    site::proxies(&mut conf, plan);
    site::aliases(&mut conf, plan);
    site::environment(&mut conf, plan);
    python::services(&mut conf, plan);
    for file in plan.given.all("include-file") {
        conf.directive("Include", &[&crate::plan::path_text(&plan.absolute(file))]);
    }
    conf.finish()
}
