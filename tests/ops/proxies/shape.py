"""The files for Traefik and Envoy: valid YAML, two nodes, one route, no short limit on an open socket.

It knows only the keys that the files use: any other is an error, so that a slip of the pen is seen.
"""

import sys
from pathlib import Path

import yaml

folder = Path(sys.argv[1])
wrong = []


def expect(holds, what):
    if not holds:
        wrong.append(what)


def known(value, keys, where):
    """Every key below a value is one of these; maps of names are walked, not judged."""
    if isinstance(value, dict):
        for key, inner in value.items():
            expect(key in keys, f"{where}: unknown key {key}")
            known(inner, keys, f"{where}.{key}")
    elif isinstance(value, list):
        for inner in value:
            known(inner, keys, where)


def seconds(text):
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    number = str(text).rstrip("msh")
    return float(number) * units.get(str(text)[len(number):], 1)


def traefik():
    static = yaml.safe_load((folder / "traefik.yaml").read_text())
    routes = yaml.safe_load((folder / "traefik-routes.yaml").read_text())
    known(static, {
        "entryPoints", "clients", "address", "forwardedHeaders", "trustedIPs", "transport", "respondingTimeouts",
        "readTimeout", "writeTimeout", "idleTimeout", "lifeCycle", "graceTimeOut", "providers", "file", "filename",
        "watch", "log", "level",
    }, "traefik.yaml")
    known(routes, {
        "http", "routers", "services", "serversTransports", "fanfare", "rule", "entryPoints", "service",
        "loadBalancer", "strategy", "servers", "url", "passHostHeader", "healthCheck", "path", "port", "interval",
        "timeout", "responseForwarding", "flushInterval", "serversTransport", "maxIdleConnsPerHost",
        "forwardingTimeouts", "dialTimeout", "responseHeaderTimeout", "idleConnTimeout",
    }, "traefik-routes.yaml")
    expect(static["providers"]["file"]["filename"] == "traefik-routes.yaml", "the routes are not read")
    expect(static["entryPoints"]["clients"]["forwardedHeaders"]["trustedIPs"] == [], "forwarded headers are believed")
    times = static["entryPoints"]["clients"]["transport"]["respondingTimeouts"]
    expect(seconds(times["writeTimeout"]) == 0, "Traefik ends answers")
    http = routes["http"]
    (router,) = http["routers"].values()
    expect(router["rule"] == "PathPrefix(`/socket/`)", "Traefik routes more than /socket/")
    expect(set(router["entryPoints"]) <= set(static["entryPoints"]), "an entry point is not declared")
    balancer = http["services"][router["service"]]["loadBalancer"]
    expect(len(balancer["servers"]) == 2, "Traefik has not two nodes")
    expect(balancer["strategy"] == "p2c", "Traefik does not count what is under way")
    expect(balancer["healthCheck"]["path"] == "/readyz", "Traefik does not ask /readyz")
    waits = http["serversTransports"][balancer["serversTransport"]]["forwardingTimeouts"]
    expect(seconds(waits["responseHeaderTimeout"]) > 10, "Traefik gives up on polls")


def envoy():
    static = yaml.safe_load((folder / "envoy.yaml").read_text())["static_resources"]
    (listener,) = static["listeners"]
    (cluster,) = static["clusters"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    expect(manager["upgrade_configs"] == [{"upgrade_type": "websocket"}], "Envoy upgrades nothing")
    expect(manager["use_remote_address"] is True, "Envoy believes forwarded addresses")
    expect(seconds(manager["stream_idle_timeout"]) >= 3600, "Envoy ends idle sockets")
    (host,) = manager["route_config"]["virtual_hosts"]
    (route,) = host["routes"]
    expect(route["match"] == {"prefix": "/socket/"}, "Envoy routes more than /socket/")
    expect(seconds(route["route"]["timeout"]) == 0, "Envoy ends sockets after a time")
    expect(seconds(route["route"]["idle_timeout"]) >= 3600, "Envoy ends idle routes")
    expect(route["route"]["cluster"] == cluster["name"], "the cluster is not declared")
    expect(cluster["lb_policy"] == "LEAST_REQUEST", "Envoy does not count what is under way")
    window = cluster["least_request_lb_config"]["slow_start_config"]["slow_start_window"]
    expect(seconds(window) == 30, "Envoy starts nodes at full speed")
    nodes = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    expect(len(nodes) == 2, "Envoy has not two nodes")
    ports = {node["endpoint"]["health_check_config"]["port_value"] for node in nodes}
    expect(ports == {4001}, "Envoy asks the clients' port for /readyz")
    expect(cluster["health_checks"][0]["http_health_check"]["path"] == "/readyz", "Envoy does not ask /readyz")


traefik()
envoy()
for line in wrong:
    print(f"  {line}", file=sys.stderr)
if wrong:
    sys.exit(1)
print("  traefik, envoy: the files have the promised shape")
