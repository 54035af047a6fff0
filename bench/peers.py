"""The proxies beside which bench/proxies.py measures sluiced, each in the foreground.

They write no access log. Those that know no CONNECT (haproxy, nginx) carry tunnels by the name in a TLS ClientHello
instead (SNI).
"""

import contextlib
import os
import resource
import subprocess

from peer import Peer, Ports, each

SQUID = """http_port 127.0.0.1:{port}
workers {workers}
pid_filename {base}/squid.pid
coredump_dir {base}
cache_log {base}/cache.log
access_log none
cache deny all
hosts_file {base}/hosts
dns_nameservers 127.0.0.1
visible_hostname bench
pinger_enable off
shutdown_lifetime 0 seconds
acl allowed dstdomain "{base}/suffixes"
acl bench_port port {origin_port}
acl CONNECT method CONNECT
http_access deny !bench_port
http_access allow allowed
http_access deny all
"""


class Squid(Peer):
    """Two workers, nothing cached."""

    name = "squid"
    program = "squid"

    def __init__(self, origin_port):
        super().__init__(origin_port)
        self.port = Ports.one()
        # Workers talk over sockets in a directory of the package, and over shared memory.
        self.workers = 2 if os.access("/run/squid", os.W_OK) else 1
        self.service = f"bench{self.port}"
        self.watch = None
        for kind in ("tunnel", "get", "refused_new", "refused_kept"):
            self.ways[kind] = ("connect", self.port)

    def command(self):
        # It looks up the names of its clients too, which are 127.2.0.1 to 127.2.0.64.
        clients = "".join(f"127.2.0.{number} client{number}.bench.test\n" for number in range(1, 65))
        self.write("hosts", each("{2} api.{1}\n") + clients)
        self.write("suffixes", each(".{1}\n"))
        config = self.write("squid.conf", SQUID.format(**vars(self)))
        return [self.program, "--foreground", "-n", self.service, "-f", config]

    def start(self):
        super().start()
        # It changes its user, with which the kernel forgets PR_SET_PDEATHSIG (prctl(2)).
        watch = ["sh", "-c", 'read -r _; kill "$0"', str(self.process.pid)]
        self.watch = subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True)
        return self

    def stop(self):
        if self.watch:
            self.watch.kill()
            self.watch.communicate()
            self.watch = None
        super().stop()

    def close(self):
        super().close()
        for folder in ("/run/squid", "/dev/shm"):
            with contextlib.suppress(OSError):
                for name in os.listdir(folder):
                    if name.startswith(self.service):
                        os.unlink(f"{folder}/{name}")


HAPROXY = """global
  maxconn {maxconn}
defaults
  timeout connect 10s
  timeout client 600s
  timeout server 600s
  timeout tunnel 600s
  http-reuse always
frontend forward
  mode http
  bind 127.0.0.1:{http} backlog 4096
  acl allowed hdr(host),field(1,:),lower -m end -f {base}/suffixes
  http-request deny deny_status 403 unless allowed
  http-request set-dst hdr(host),field(1,:),lower,map({base}/addresses)
  http-request set-dst-port int({origin_port})
  default_backend any_http
backend any_http
  mode http
  server any 0.0.0.0:0
frontend names
  mode tcp
  bind 127.0.0.1:{sni} backlog 4096
  tcp-request inspect-delay 10s
  acl hello req.ssl_hello_type 1
  acl allowed req.ssl_sni,lower -m end -f {base}/suffixes
  tcp-request content reject if !hello
  tcp-request content reject if !allowed
  tcp-request content set-dst req.ssl_sni,lower,map({base}/addresses)
  tcp-request content set-dst-port int({origin_port})
  default_backend any_tcp
backend any_tcp
  mode tcp
  server any 0.0.0.0:0
"""


class Haproxy(Peer):
    """A thread for each core, as it comes; refuses CONNECT and GET by the same list."""

    name = "haproxy"
    program = "haproxy"

    def __init__(self, origin_port):
        super().__init__(origin_port)
        self.http, self.sni = Ports.one(), Ports.one()
        self.maxconn = resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2 - 60
        self.ways = {"tunnel": ("sni", self.sni), "get": ("connect", self.http),
                     "refused_new": ("connect", self.http), "refused_kept": ("connect", self.http)}  # fmt: skip

    def command(self):
        self.write("suffixes", each(".{1}\n"))
        self.write("addresses", each("api.{1} {2}\n"))
        return [self.program, "-db", "-f", self.write("haproxy.cfg", HAPROXY.format(**vars(self)))]


NGINX = """load_module {module};
daemon off;
worker_processes 2;
worker_rlimit_nofile {descriptors};
pid {base}/nginx.pid;
error_log {base}/error.log crit;
events {{ worker_connections {descriptors}; }}
stream {{
  map_hash_bucket_size 128;
  map $ssl_preread_server_name $origin {{
    hostnames;
    default "";
{targets}  }}
  server {{
    listen 127.0.0.1:{sni} backlog=4096;
    ssl_preread on;
    proxy_pass $origin;
  }}
}}
http {{
  access_log off;
  map_hash_bucket_size 128;
  client_body_temp_path {base}/body;
  proxy_temp_path {base}/proxy;
  fastcgi_temp_path {base}/fastcgi;
  uwsgi_temp_path {base}/uwsgi;
  scgi_temp_path {base}/scgi;
  keepalive_requests 100000000;
  map $host $origin {{
    hostnames;
    default "";
{names}  }}
{upstreams}
  server {{
    listen 127.0.0.1:{http} backlog=4096;
    location / {{
      if ($origin = "") {{ return 403; }}
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_pass http://$origin;
    }}
  }}
}}
"""


class Nginx(Peer):
    """Two workers. What it forwards to is written down beforehand, name by name."""

    name = "nginx"
    program = "nginx"
    module = "/usr/lib/nginx/modules/ngx_stream_module.so"

    def __init__(self, origin_port):
        super().__init__(origin_port)
        self.http, self.sni = Ports.one(), Ports.one()
        self.descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self.ways = {"tunnel": ("sni", self.sni), "get": ("connect", self.http),
                     "refused_kept": ("connect", self.http)}  # fmt: skip

    @classmethod
    def installed(cls):
        return super().installed() and os.path.exists(cls.module)

    def command(self):
        port = self.origin_port
        upstream = f"  upstream svc{{0}} {{{{ server {{2}}:{port}; keepalive 16; keepalive_requests 100000000; }}}}\n"
        config = NGINX.format(targets=each(f"    *.{{1}} {{2}}:{port};\n"), names=each("    *.{1} svc{0};\n"),
                              upstreams=each(upstream), module=self.module, **vars(self))  # fmt: skip
        return [self.program, "-p", self.base, "-c", self.write("nginx.conf", config)]


TINYPROXY = """Listen 127.0.0.1
Port {port}
Timeout 600
MaxClients 20000
LogLevel Critical
LogFile "{base}/log"
PidFile "{base}/pid"
Filter "{base}/filter"
FilterExtended On
FilterDefaultDeny Yes
ConnectPort {origin_port}
"""
# It asks the C library for addresses: /etc/hosts is another one in a mount namespace of its own.
WITH_HOSTS = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'


class Tinyproxy(Peer):
    """A thread for each connection; keeps none of them."""

    name = "tinyproxy"
    program = "tinyproxy"
    idle_most = 2000

    def __init__(self, origin_port):
        super().__init__(origin_port)
        self.port = Ports.one()
        for kind in ("tunnel", "get", "refused_new"):
            self.ways[kind] = ("connect", self.port)

    def command(self):
        hosts = self.write("hosts", "127.0.0.1 localhost\n" + each("{2} api.{1}\n"))
        self.write("filter", each("\\.svc{0:03}\\.bench\\.test$\n"))
        config = self.write("tinyproxy.conf", TINYPROXY.format(**vars(self)))
        apart = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-r", "-m"]
        return [*apart, "sh", "-c", WITH_HOSTS, "sh", hosts, self.program, "-d", "-c", config]


PEERS = (Squid, Haproxy, Nginx, Tinyproxy)
