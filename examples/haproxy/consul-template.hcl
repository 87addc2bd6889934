# consul-template 0.30 or later, instead of `remora render`. Run it with REMORA_HAPROXY_HARD_STOP_AFTER=5s in its
# environment: a reload alone leaves the sessions to an old writer alone. The template is templates/haproxy.cfg.ctmpl.
consul {
  address = "127.0.0.1:8500"
  retry {
    attempts    = 0 # for ever
    max_backoff = "2s"
  }
}
max_stale = "0s" # what Consul's leader says

template {
  source      = "/etc/remora/haproxy.cfg.ctmpl"
  destination = "/etc/haproxy/haproxy.cfg"
  perms       = "0644"
  error_fatal = false
  # The file is in place already when this fails: unlike `remora render`, consul-template cannot check it before.
  exec {
    command = ["/bin/sh", "-c", "haproxy -c -f /etc/haproxy/haproxy.cfg && systemctl reload haproxy || true"]
    timeout = "20s"
  }
}
