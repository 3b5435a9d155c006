/* Macros, variadics and inline functions of httpd and APR as plain functions, each named after what it wraps.
 * Defined in apache/shim.c, called from src/httpd only. */
#ifndef WSGI_SHIM_H
#define WSGI_SHIM_H

#include "httpd.h"
#include "http_core.h"
#include "scoreboard.h"
#include "apr_buckets.h"

void wsgi_log_rerror(const request_rec *r, int level, const char *text, apr_size_t len);
void wsgi_log_startup(int level, const char *text, apr_size_t len);
void wsgi_log_error(const server_rec *s, int level, const char *text, apr_size_t len);

apr_bucket *wsgi_brigade_first(apr_bucket_brigade *bb);
apr_status_t wsgi_bucket_split(apr_bucket *b, apr_size_t point);
void wsgi_bucket_delete(apr_bucket *b);
int wsgi_bucket_is_eos(const apr_bucket *b);
int wsgi_bucket_is_metadata(const apr_bucket *b);
apr_status_t wsgi_bucket_read(apr_bucket *b, const char **data, apr_size_t *len);
void wsgi_brigade_insert_tail(apr_bucket_brigade *bb, apr_bucket *b);

void wsgi_bucket_insert_after(apr_bucket *a, apr_bucket *b);

int wsgi_is_https(conn_rec *c);
int wsgi_file_fd(apr_file_t *file);
void wsgi_reset_on_close(conn_rec *c);
int wsgi_client_fd(conn_rec *c);
core_dir_config *wsgi_core_dir_config(request_rec *r);
const char *wsgi_worker_client64(const worker_score *w);
void wsgi_hook_child_stopping(void (*call)(apr_pool_t *pchild, int graceful));

#endif
