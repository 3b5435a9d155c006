/* One function for each macro, variadic or inline function of httpd and APR that Rust cannot call. No logic. */
#include "httpd.h"
#include "http_config.h"
#include "http_log.h"
#include "http_request.h"
#include "http_ssl.h"
#include "http_core.h"
#include "mpm_common.h"
#include "apr_buckets.h"
#include "apr_portable.h"

#include <sys/socket.h>

#include "shim.h"

/* Defined in src/hooks/record.rs: rustc exports no C symbol from a cdylib. */
extern module AP_MODULE_DECLARE_DATA wsgi_module;
APLOG_USE_MODULE(wsgi);

void wsgi_log_rerror(const request_rec *r, int level, const char *text, apr_size_t len)
{
    if (r->filename) {
        ap_log_rerror(APLOG_MARK, level, 0, r, "[script %s] %.*s", r->filename, (int) len, text);
    } else {
        ap_log_rerror(APLOG_MARK, level, 0, r, "%.*s", (int) len, text);
    }
}

void wsgi_log_error(const server_rec *s, int level, const char *text, apr_size_t len)
{
    ap_log_error(APLOG_MARK, level, 0, s, "%.*s", (int) len, text);
}

void wsgi_log_startup(int level, const char *text, apr_size_t len)
{
    ap_log_error(APLOG_MARK, level | APLOG_STARTUP, 0, NULL, "%.*s", (int) len, text);
}

apr_bucket *wsgi_brigade_first(apr_bucket_brigade *bb)
{
    apr_bucket *b = APR_BRIGADE_FIRST(bb);
    return b == APR_BRIGADE_SENTINEL(bb) ? NULL : b;
}

apr_status_t wsgi_bucket_split(apr_bucket *b, apr_size_t point)
{
    return apr_bucket_split(b, point);
}

void wsgi_bucket_delete(apr_bucket *b)
{
    apr_bucket_delete(b);
}

int wsgi_bucket_is_eos(const apr_bucket *b)
{
    return APR_BUCKET_IS_EOS(b);
}

int wsgi_bucket_is_metadata(const apr_bucket *b)
{
    return APR_BUCKET_IS_METADATA(b);
}

apr_status_t wsgi_bucket_read(apr_bucket *b, const char **data, apr_size_t *len)
{
    return apr_bucket_read(b, data, len, APR_BLOCK_READ);
}

void wsgi_brigade_insert_tail(apr_bucket_brigade *bb, apr_bucket *b)
{
    APR_BRIGADE_INSERT_TAIL(bb, b);
}

void wsgi_bucket_insert_after(apr_bucket *a, apr_bucket *b)
{
    APR_BUCKET_INSERT_AFTER(a, b);
}

int wsgi_is_https(conn_rec *c)
{
    return ap_ssl_conn_is_ssl(c);
}

int wsgi_file_fd(apr_file_t *file)
{
    apr_os_file_t fd;
    return file && apr_os_file_get(&fd, file) == APR_SUCCESS ? fd : -1;
}

void wsgi_reset_on_close(conn_rec *c)
{
    struct linger now = { 1, 0 };
    apr_os_sock_t fd;
    apr_socket_t *socket = ap_get_conn_socket(c);
    if (socket && apr_os_sock_get(&fd, socket) == APR_SUCCESS)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

int wsgi_client_fd(conn_rec *c)
{
    apr_os_sock_t fd;
    apr_socket_t *socket = c->master ? NULL : ap_get_conn_socket(c);
    return socket && apr_os_sock_get(&fd, socket) == APR_SUCCESS ? fd : -1;
}

core_dir_config *wsgi_core_dir_config(request_rec *r)
{
    return ap_get_core_module_config(r->per_dir_config);
}

/* The field came with httpd 2.4.35. */
const char *wsgi_worker_client64(const worker_score *w)
{
#if AP_MODULE_MAGIC_AT_LEAST(20120211, 83)
    return w->client64;
#else
    (void) w;
    return NULL;
#endif
}

/* The hook came with httpd 2.4.49. */
void wsgi_hook_child_stopping(void (*call)(apr_pool_t *pchild, int graceful))
{
#if AP_MODULE_MAGIC_AT_LEAST(20120211, 110)
    ap_hook_child_stopping(call, NULL, NULL, APR_HOOK_MIDDLE);
#else
    (void) call;
#endif
}
