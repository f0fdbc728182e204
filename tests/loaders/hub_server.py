"""A hub on 127.0.0.1: serves repositories as huggingface.co does, and misbehaves on command.

usage: hub_server.py FOLDER [CERTIFICATE KEY]
prints {"hub": URL, "store": URL, "foreign": URL} and serves until stdin ends; with a certificate also {"tls": URL}, the
same hub over https.

FOLDER/OWNER/NAME/REVISION/... are the files of a branch or tag. A file of KLFS bytes or more is "large" (LFS): its
resolve address redirects to the store, another host name and port, as the hub redirects to its CDN. Repositories named
"private" or "gated" need the token "secret". Commits are hashes of what a revision holds.

POST /_control {"faults": [FAULT...]} replaces the faults; {"set": {"bandwidth": N}} is bytes a second (0: no limit).
FAULT = {"match": REGEX on "hub GET /path" or "store GET /path", "do": WHAT, "times": N (default: for ever), ...}
  drop bytes=N     close the connection after N bytes of the body      status code=N [retry_after=S]
  wrong            flip a bit of the body's last byte                  short      announce and send one byte less
  long             send one byte more than the file has                no_range   ignore Range
  slow seconds=S   wait before answering                               loop       redirect to itself
  foreign          redirect to the third server, which only records    bad_range  answer another range than was asked
  plain            redirect to the same address over http
  etag value=V     another ETag on the body                            commit value=V   another X-Repo-Commit
  endless code=C   that status, and a body without an end              headers count=N   N headers of 1 kB
  page size=N      the list of files in pages of N                     evil       names that leave the folder, in the list
GET /_log gives the requests so far: [{"server", "method", "path", "headers", "status", "sent"}]; sent counts the bytes
of the body that went into the socket.
"""

import hashlib
import http.server
import json
import re
import socket
import ssl
import sys
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

KLFS = 64 * 1024
TOKEN = "secret"


class State:
    def __init__(self, root):
        self.root, self.lock, self.log, self.faults = Path(root), threading.Lock(), [], []
        self.settings = {"bandwidth": 0}
        self.urls = {}
        self.hashes = {}

    def fault(self, what):
        with self.lock:
            for fault in self.faults:
                if fault.get("times", 1) > 0 and re.search(fault["match"], what):
                    if "times" in fault:
                        fault["times"] -= 1
                    return fault
        return {"do": ""}

    def hash_of(self, path):
        """git's hash, the SHA-256 if it is large, and the size."""
        status = path.stat()
        key = (path, status.st_mtime_ns, status.st_size)
        if key not in self.hashes:
            data = path.read_bytes()
            sha256 = hashlib.sha256(data).hexdigest()
            stored = data
            if len(data) >= KLFS:
                stored = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(data)}\n".encode()
            git = hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()
            self.hashes[key] = (git, sha256 if len(data) >= KLFS else None, len(data), len(stored))
        return self.hashes[key]

    def files(self, folder):
        return {str(p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if p.is_file()}

    def commit(self, folder):
        text = "".join(f"{name} {self.hash_of(path)[0]}\n" for name, path in self.files(folder).items())
        return hashlib.sha1(text.encode()).hexdigest()

    def find(self, repo, revision):
        """The folder of a revision and its commit, or None."""
        folder = self.root / repo
        for each in sorted(folder.iterdir()) if folder.is_dir() else []:
            commit = self.commit(each)
            if revision in (each.name, commit):
                return each, commit
        return None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state = None

    def log_message(self, *args):
        pass

    def setup(self):
        super().setup()
        # What is lost in flight when a client dies is little, and counted.
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def answer(self, status, headers=(), body=b"", sent=None):
        self.entry["status"] = status
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name == "Content-Length" for name, _ in headers):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.send_body(body)

    def send_body(self, body, limit=None):
        bandwidth = self.state.settings["bandwidth"]
        piece = 64 * 1024 if not bandwidth else max(4096, bandwidth // 200)
        end = len(body) if limit is None else min(limit, len(body))
        for at in range(0, end, piece):
            part = body[at : min(at + piece, end)]
            self.wfile.write(part)
            self.entry["sent"] += len(part)
            if bandwidth:
                time.sleep(len(part) / bandwidth)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/_log":
            self.entry = {"sent": 0}
            with self.state.lock:
                return self.answer(200, body=json.dumps(self.state.log).encode())
        self.entry = {"server": self.server.role, "method": self.command, "path": self.path, "status": 0, "sent": 0,
                      "headers": {k.lower(): v for k, v in self.headers.items()}}
        with self.state.lock:
            self.state.log.append(self.entry)
        try:
            self.serve(url, self.state.fault(f"{self.server.role} {self.command} {self.path}"))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def do_POST(self):
        self.entry = {"sent": 0}
        control = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.state.lock:
            self.state.settings.update(control.get("set", {}))
            if "faults" in control:
                self.state.faults = control["faults"]
            if control.get("clear"):
                self.state.log.clear()
        self.answer(200, body=b"{}")

    def serve(self, url, fault):
        what = fault["do"]
        if self.server.role == "foreign":
            return self.answer(200, body=b"stolen")
        if what == "status":
            retry = [("Retry-After", str(fault["retry_after"]))] if "retry_after" in fault else []
            return self.answer(fault["code"], retry, b"no")
        if what == "endless":
            self.entry["status"] = fault["code"]
            self.send_response(fault["code"])
            self.send_header("Connection", "close")
            self.end_headers()
            while True:
                self.wfile.write(b"no" * 4096)
        if what == "headers":
            return self.answer(200, [(f"X-Long-{i}", "x" * 1024) for i in range(fault["count"])], b"no")
        if what == "slow":
            time.sleep(fault["seconds"])
        if what == "loop":
            return self.answer(302, [("Location", self.path)])
        if what == "foreign":
            return self.answer(302, [("Location", self.state.urls["foreign"] + "/x")])
        if what == "plain":
            return self.answer(302, [("Location", self.state.urls["hub"] + self.path)])
        if self.server.role == "store":
            # The address is signed: a store must never see the token.
            path = self.state.root / unquote(url.path.lstrip("/"))
            if "signature=" not in url.query or not path.is_file():
                return self.answer(403)
            return self.send_file(path, f'"store-{self.state.hash_of(path)[1]}"', [], fault)
        parts = url.path.lstrip("/").split("/")
        if parts[:2] == ["api", "models"]:
            return self.serve_api(parts[2:], url, fault)
        # OWNER/NAME/resolve/REVISION/FILE, or without an owner
        at = parts.index("resolve") if "resolve" in parts else 0
        if at not in (1, 2) or len(parts) < at + 3:
            return self.answer(404, [("X-Error-Code", "RepoNotFound")])
        repo, revision, name = "/".join(parts[:at]), unquote(parts[at + 1]), unquote("/".join(parts[at + 2 :]))
        if not self.allowed(repo):
            return
        if not (self.state.root / repo).is_dir() or at == 1:
            return self.moved_or_missing(repo)
        found = self.state.find(repo, revision)
        if found is None:
            return self.answer(404, [("X-Error-Code", "RevisionNotFound"), ("X-Error-Message", "Invalid rev id")])
        folder, commit = found
        headers = [("X-Repo-Commit", fault["value"] if what == "commit" else commit)]
        path = self.state.files(folder).get(name)
        if path is None:
            return self.answer(404, headers + [("X-Error-Code", "EntryNotFound"), ("X-Error-Message", "Entry not found")])
        git, sha256, size, _ = self.state.hash_of(path)
        if sha256 is None:
            return self.send_file(path, f'"{git}"', headers, fault)
        location = f"{self.state.urls['store']}/{quote(str(path.relative_to(self.state.root)))}?signature=abc"
        self.answer(302, headers + [("Location", location), ("X-Linked-Etag", f'"{sha256}"'), ("X-Linked-Size", str(size))])

    def allowed(self, repo):
        token = self.headers.get("Authorization", "")
        if token not in ("", f"Bearer {TOKEN}"):
            self.answer(401, [("X-Error-Message", "Invalid credentials in Authorization header")])
            return False
        if repo.endswith("/private") and not token:
            self.answer(401, [("X-Error-Code", "RepoNotFound"), ("X-Error-Message", "Repository not found")])
            return False
        if repo.endswith("/gated") and not token:
            self.answer(403, [("X-Error-Code", "GatedRepo"), ("X-Error-Message", "Access to model is restricted")])
            return False
        return True

    def moved_or_missing(self, repo):
        """The hub redirects old names: here "old" to "org/text"."""
        if repo == "old":
            return self.answer(307, [("Location", self.path.replace("/old/", "/org/text/", 1))])
        return self.answer(401 if "Authorization" not in self.headers else 404,
                           [("X-Error-Code", "RepoNotFound"), ("X-Error-Message", "Repository not found")])

    def serve_api(self, parts, url, fault):
        at = next((i for i, part in enumerate(parts) if part in ("revision", "tree")), len(parts))
        repo = "/".join(parts[:at])
        if not self.allowed(repo):
            return
        if not (self.state.root / repo).is_dir() or at == 1:
            return self.moved_or_missing(repo)
        revision = unquote(parts[at + 1]) if len(parts) > at + 1 else "main"
        found = self.state.find(repo, revision)
        if found is None:
            return self.answer(404, [("X-Error-Code", "RevisionNotFound"), ("X-Error-Message", "Invalid rev id")])
        folder, commit = found
        files = self.state.files(folder)
        if at == len(parts) or parts[at] == "revision":
            info = {"id": repo, "modelId": repo, "sha": commit, "private": False, "gated": False, "disabled": False,
                    "tags": [], "downloads": 0, "likes": 0, "siblings": [{"rfilename": name} for name in files]}
            return self.answer(200, [("Content-Type", "application/json")], json.dumps(info).encode())
        items = []
        for folder_name in sorted({str(Path(name).parent) for name in files} - {"."}):
            items.append({"type": "directory", "oid": "0" * 40, "size": 0, "path": folder_name})
        for name, path in files.items():
            git, sha256, size, stored = self.state.hash_of(path)
            item = {"type": "file", "oid": git, "size": size, "path": name}
            if sha256 is not None:
                item["lfs"] = {"oid": sha256, "size": size, "pointerSize": stored}
            items.append(item)
        if fault["do"] == "evil":
            for name in fault["names"]:
                items.append({"type": "file", "oid": "a" * 40, "size": 1, "path": name})
        headers = [("Content-Type", "application/json")]
        if fault["do"] == "page":
            begin = int(parse_qs(url.query).get("cursor", ["0"])[0])
            if begin + fault["size"] < len(items):
                address = f"{fault.get('host', self.state.urls['hub'])}{url.path}?recursive=true&cursor={begin + fault['size']}"
                headers.append(("Link", f'<{address}>; rel="next"'))
            items = items[begin : begin + fault["size"]]
        self.answer(200, headers, json.dumps(items).encode())

    def send_file(self, path, etag, headers, fault):
        what, data = fault["do"], path.read_bytes()
        begin, status = 0, 200
        etag = fault["value"] if what == "etag" else etag
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        unchanged = self.headers.get("If-Range", etag) == etag
        headers = headers + [("ETag", etag), ("Accept-Ranges", "bytes")]
        if match and unchanged and what != "no_range":
            begin, status = int(match[1]), 206
            if begin >= len(data):
                return self.answer(416, [("Content-Range", f"bytes */{len(data)}")])
            if what == "bad_range":
                begin = 0
            headers.append(("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}"))
        body = data[begin:]
        if what == "wrong" and body:
            body = body[:-1] + bytes([body[-1] ^ 1])
        if what == "short":
            body = body[:-1]
        if what == "long":
            body += b"x"
        self.entry["status"] = status
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.send_body(body, fault["bytes"] if what == "drop" else None)
        if what == "drop":
            self.close_connection = True


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # a client that died


def main():
    state = State(sys.argv[1])
    Handler.state = state
    for role, host in (("hub", "127.0.0.1"), ("store", "localhost"), ("foreign", "127.0.0.1")):
        server = Server(("127.0.0.1", 0), Handler)
        server.role = role
        state.urls[role] = f"http://{host}:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    if len(sys.argv) == 4:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2], sys.argv[3])
        server = Server(("127.0.0.1", 0), Handler)
        server.role = "tls"
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        state.urls["tls"] = f"https://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    print(json.dumps(state.urls), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
