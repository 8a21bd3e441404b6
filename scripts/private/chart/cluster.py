"""As much of Kubernetes as a rolling restart needs: a kubelet that runs pods of the chart as local processes, each on an
address of its own, and Services that share connections and datagrams out among those that are ready."""

import asyncio
import json
import pathlib
import time

from rendered import Machine, containers, find, pod_labels, pod_spec


class Fault(Exception):
    """What must not be."""


class Service:
    """A port of a Service: every new connection and each client's datagrams go to one of the endpoints, in turn. Connections
    that are open stay with theirs, as under kube-proxy."""

    def __init__(self, name):
        self.name, self.endpoints, self.turn, self.open = name, [], 0, set()
        self.clients = {}  # of UDP: the transport and the endpoint of each

    def pick(self):
        if not self.endpoints:
            return None
        self.turn += 1
        return self.endpoints[self.turn % len(self.endpoints)]

    async def listen_tcp(self, port, host="127.0.0.1"):
        self.server = await asyncio.start_server(self._connection, host, port, backlog=1024)

    async def _connection(self, reader, writer):
        endpoint = self.pick()
        try:
            if endpoint is None:
                raise OSError("no endpoint")
            other_reader, other_writer = await asyncio.open_connection(*endpoint)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, other_writer}
        self.open |= pair
        try:
            await asyncio.gather(pipe(reader, other_writer), pipe(other_reader, writer))
        except asyncio.CancelledError:
            pass  # The end of the check.
        finally:
            self.open -= pair
            for end in pair:
                end.close()

    def cut(self):
        """All that is open, as when the network goes away."""
        for end in list(self.open):
            end.transport.abort()

    def forget(self, client):
        if known := self.clients.pop(client, None):
            known[0].close()

    def leave(self, endpoint):
        """Nothing new is sent there; kube-proxy forgets which clients of UDP were with it, too."""
        if endpoint in self.endpoints:
            self.endpoints.remove(endpoint)
        for client in [client for client, (_, at) in self.clients.items() if at == endpoint]:
            self.forget(client)

    async def listen_udp(self, port, host="127.0.0.1"):
        loop = asyncio.get_running_loop()
        service, clients = self, self.clients

        class Back(asyncio.DatagramProtocol):
            def __init__(self, front, client):
                self.front, self.client = front, client

            def datagram_received(self, data, _):
                self.front.sendto(data, self.client)

            def error_received(self, _):
                pass

        class Front(asyncio.DatagramProtocol):
            def connection_made(self, transport):
                self.transport = transport

            def datagram_received(self, data, client):
                asyncio.ensure_future(self.forward(data, client))

            async def forward(self, data, client):
                if client not in clients:
                    endpoint = service.pick()
                    if endpoint is None:
                        return
                    back, _ = await loop.create_datagram_endpoint(lambda: Back(self.transport, client), remote_addr=endpoint)
                    clients[client] = (back, endpoint)
                    loop.call_later(10, service.forget, client)
                clients[client][0].sendto(data)

        await loop.create_datagram_endpoint(Front, (host, port))


async def pipe(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.transport.abort()


async def get(address, path, deadline):
    """The status of an answer; None."""

    async def ask():
        reader, writer = await asyncio.open_connection(*address)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: kubelet\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return int(answer.split(b" ", 2)[1])

    try:
        return await asyncio.wait_for(ask(), deadline)
    except (OSError, asyncio.TimeoutError, IndexError, ValueError):
        return None


class Pod:
    """One pod, from the rendered object to its end. It may take over the folder, with the volumes, of one before it."""

    def __init__(self, cluster, made, number, folder=None):
        self.cluster, self.made, self.spec = cluster, made, pod_spec(made)
        self.name = f"{made['metadata']['name']}-{number}"
        self.address = f"{cluster.network}.{number}"
        self.folder = folder or cluster.folder / self.name
        self.container = self.spec["containers"][0]
        self.ports = {port["name"]: port["containerPort"] for port in self.container.get("ports", [])}
        self.ready, self.stopping = False, False

    async def run(self, container):
        """Starts a container of the pod."""
        self.folder.mkdir(parents=True, exist_ok=True)
        arguments, environment = self.cluster.machine.prepare(self.spec, container, self.folder, self.address)
        arguments = [self.cluster.resolve(argument) for argument in arguments]
        log = open(self.folder / f"{container['name']}.log", "ab")
        return await asyncio.create_subprocess_exec(
            self.cluster.binary, *arguments, env=environment, cwd=self.folder, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )

    async def probe(self, name):
        probe = self.container[name]
        wanted = probe["httpGet"]
        status = await get((self.address, self.ports[wanted["port"]]), wanted["path"], probe.get("timeoutSeconds", 1))
        return status is not None and 200 <= status < 400

    async def start(self):
        """Until it is ready. The kubelet's patience, but not its pauses."""
        self.process = await self.run(self.container)
        self.cluster.running.append(self)
        startup = self.container["startupProbe"]
        end = time.monotonic() + startup["periodSeconds"] * startup["failureThreshold"]
        while not (await self.probe("startupProbe") and await self.probe("readinessProbe")):
            if self.process.returncode is not None:
                raise Fault(f"{self.name} ended with {self.process.returncode} before it was ready: {self.tail()}")
            if time.monotonic() > end:
                raise Fault(f"{self.name} is not ready after {startup['periodSeconds'] * startup['failureThreshold']} s: {self.tail()}")
            await asyncio.sleep(0.1)
        self.ready = True
        self.cluster.join(self)
        self.watcher = asyncio.ensure_future(self.watch())

    async def watch(self):
        """Liveness and readiness for as long as it runs, twice as often as the chart asks for."""
        unwell = {"livenessProbe": 0, "readinessProbe": 0}
        while self.process.returncode is None:
            for name in unwell:
                unwell[name] = 0 if await self.probe(name) else unwell[name] + 1
            if self.process.returncode is not None or self.stopping == "SIGTERM":
                return
            if unwell["livenessProbe"] >= self.container["livenessProbe"]["failureThreshold"]:
                self.cluster.fault(f"{self.name} would be killed: it does not say that it is alive")
            ready = unwell["readinessProbe"] < self.container["readinessProbe"]["failureThreshold"]
            if ready != self.ready:
                self.ready = ready
                (self.cluster.join if ready and not self.stopping else self.cluster.leave)(self)
            await asyncio.sleep(1)

    async def crash(self):
        """Its container dies, and is started again: the volumes are as they were."""
        self.watcher.cancel()
        self.cluster.leave(self)
        self.cluster.running.remove(self)
        # What is under way dies with it, which is not the question here.
        await asyncio.sleep(0.5)
        self.process.kill()
        await self.process.wait()
        await self.start()

    async def terminate(self):
        """As the kubelet does it: preStop while the word of the pod's end spreads, SIGTERM, and SIGKILL when the time is up."""
        begun = time.monotonic()
        sleep = self.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        self.stopping = "preStop"
        # Balancers notice late; the chart promises that nothing is lost if they do within preStop.
        await asyncio.sleep(sleep * 3 / 4)
        self.cluster.leave(self)
        await asyncio.sleep(sleep / 4)
        self.stopping = "SIGTERM"
        if self.process.returncode is None:
            self.process.terminate()
        left = self.spec["terminationGracePeriodSeconds"] - (time.monotonic() - begun)
        try:
            code = await asyncio.wait_for(self.process.wait(), left)
        except asyncio.TimeoutError:
            self.process.kill()
            code = await self.process.wait()
            self.cluster.fault(f"{self.name} did not end within its terminationGracePeriodSeconds")
        self.cluster.running.remove(self)
        if code:
            self.cluster.fault(f"{self.name} ended with {code}: {self.tail()}")
        return time.monotonic() - begun - sleep

    def tail(self):
        lines = (self.folder / f"{self.container['name']}.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-15:])


class Cluster:
    """The objects of a release, come alive."""

    def __init__(self, binary, folder, objects, world, network):
        self.binary, self.folder, self.objects, self.network = binary, pathlib.Path(folder), objects, network
        self.machine = Machine(objects, world["secrets"], world["config_maps"])
        self.services, self.running, self.faults, self.number = {}, [], [], 0

    def fault(self, text):
        self.faults.append(text)
        print(f"  FAULT: {text}", flush=True)

    async def publish(self, service, port_name, host_port, host="127.0.0.1"):
        """The load balancer of a Service's port, at this one of loopback."""
        wanted = find(self.objects, "Service", service)
        port = next(port for port in wanted["spec"]["ports"] if port["name"] == port_name)
        made = Service(f"{service}/{port_name}")
        made.selector, made.target = wanted["spec"]["selector"], port["targetPort"]
        if port.get("protocol") == "UDP":
            await made.listen_udp(host_port, host)
        else:
            await made.listen_tcp(host_port, host)
        self.services[service, port_name] = made

    def _mine(self, pod):
        labels = pod_labels(pod.made)
        for service in self.services.values():
            if all(labels.get(key) == value for key, value in service.selector.items()):
                yield service, (pod.address, pod.ports[service.target])

    def join(self, pod):
        for service, endpoint in self._mine(pod):
            if endpoint not in service.endpoints:
                service.endpoints.append(endpoint)

    def leave(self, pod):
        for service, endpoint in self._mine(pod):
            service.leave(endpoint)

    def resolve(self, argument):
        """The names of headless Services are theirs whom they select: DNS of the cluster, for one pod."""
        name, _, port = argument.rpartition(":")
        for made in self.objects:
            if made["kind"] == "Service" and made["metadata"]["name"] == name:
                for pod in self.running:
                    if all(pod_labels(pod.made).get(key) == value for key, value in made["spec"]["selector"].items()):
                        return f"{pod.address}:{port}"
        return argument

    def pod(self, made, folder=None):
        self.number += 1
        return Pod(self, made, self.number, folder)

    async def complete(self, made):
        """Runs a Job's or a test's containers to their end, those of the beginning one by one."""
        pod = self.pod(made)
        for container in containers(pod.spec):
            code = await asyncio.wait_for((await pod.run(container)).wait(), 120)
            if code:
                log = (pod.folder / f"{container['name']}.log").read_text()
                raise Fault(f"{pod.name}/{container['name']} ended with {code}: {log}")
        return pod

    async def roll(self, role):
        """A rolling restart: for each pod a new one first, then the old one goes; in a StatefulSet, where the new one takes
        over its volumes, the other way round."""
        times = []
        for old in self.of(role):
            if old.made["kind"] == "StatefulSet":
                times.append(await old.terminate())
                await self.pod(old.made, old.folder).start()
            else:
                await self.pod(old.made).start()
                times.append(await old.terminate())
        return times

    def of(self, role):
        """The pods of a role."""
        return [pod for pod in self.running if pod.made["metadata"]["labels"]["app.kubernetes.io/component"] == role]

    async def stop(self):
        await asyncio.gather(*(pod.terminate() for pod in list(self.running)))

    def kill(self):
        for pod in list(self.running):
            if pod.process.returncode is None:
                pod.process.kill()


def world(path):
    return json.loads(pathlib.Path(path).read_text())
