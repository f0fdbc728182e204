"""Runs huggingface_hub and the caracal command against the loopback hub of the tests, to prove that both see one cache.

usage: check_hub.py CARACAL [--goldens]      with the reference versions of transformers and huggingface_hub

Both ways: what one fetched is used by the other without a request for a file, and the two caches are the same, names,
links, bytes and all. Then both at once on one cache: each large file is fetched once, whoever holds the lock. Then files
that repositories share, which huggingface_hub makes of those that come by Xet: Xet's own protocol is not spoken here, but
its function for moving them is called. --goldens
writes tests/data/hub/cache.txt, the cache that huggingface_hub makes, which tests/loaders/hub_test.cpp compares.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "##s", "sit", "."]
MODULES = (
    '[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}, '
    '{"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]'
)


def make_repositories(root):
    base, text = ROOT / "tests/data/models/bert/base", root / "org/text/main"
    (text / "1_Pooling").mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(base / name, text / name)
    (text / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    (text / "vocab.txt").write_text("".join(token + "\n" for token in VOCABULARY))
    (text / "modules.json").write_text(MODULES)
    (text / "1_Pooling/config.json").write_text('{"pooling_mode_mean_tokens": true}')
    large = root / "org/large/main"
    large.mkdir(parents=True)
    (large / "config.json").write_text("{}")
    (large / "model.safetensors").write_bytes(os.urandom(4_000_000))
    for name in ("shards", "fork"):
        shutil.copytree(ROOT / "tests/data/models/bert/sharded", root / "org" / name / "main")
        (root / "org" / name / "main/generation_config.json").write_text(json.dumps({"name": name}))


class Hub:
    def __init__(self, folder):
        make_repositories(folder)
        server = ROOT / "tests/loaders/hub_server.py"
        self.process = subprocess.Popen(
            [sys.executable, server, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.url = json.loads(self.process.stdout.readline())["hub"]

    def log(self, part):
        entries = json.load(urllib.request.urlopen(self.url + "/_log"))
        return [entry for entry in entries if part in f"{entry['server']} {entry['method']} {entry['path']}"]

    def control(self, **what):
        urllib.request.urlopen(self.url + "/_control", data=json.dumps(what).encode())


def listing(cache):
    lines = []
    for path in sorted(cache.rglob("*"), key=str):
        if path.is_dir() and not path.is_symlink() or "/.no_exist/" in str(path):
            continue
        line = str(path.relative_to(cache))
        if path.is_symlink():
            line += f" -> {os.readlink(path)}"
        elif path.suffix != ".lock":
            line += f" {path.stat().st_size}"
        if path.parent.name in ("refs", "trees"):
            line += "\n" + path.read_text()
        lines.append(line + "\n")
    return "".join(lines)


def main():
    caracal, temporary = Path(sys.argv[1]).resolve(), Path(tempfile.mkdtemp())
    hub = Hub(temporary / "repositories")
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "no_proxy": "*"}

    def start(home, command):
        return subprocess.Popen(
            command, env={**environment, "HF_HOME": str(temporary / home)}, stdout=subprocess.PIPE, text=True
        )

    def run(process):
        out, _ = process.communicate()
        assert process.returncode == 0, process.args
        return out.strip()

    def ours(home, repo, *arguments):
        return start(home, [caracal, "download", repo, *arguments])

    def theirs(home, repo, arguments=""):
        code = f"import huggingface_hub as h; print(h.snapshot_download({repo!r}{arguments}))"
        return start(home, [sys.executable, "-c", code])

    # The same cache, made by either.
    first, second = run(theirs("theirs", "org/text")), run(ours("ours", "org/text"))
    their_cache, our_cache = temporary / "theirs/hub", temporary / "ours/hub"
    assert listing(their_cache) == listing(our_cache), listing(their_cache) + "---\n" + listing(our_cache)
    for path in their_cache.rglob("*"):
        if path.is_file() and path.suffix != ".lock":
            assert path.read_bytes() == (our_cache / path.relative_to(their_cache)).read_bytes(), path
    print("the same cache:", len(listing(their_cache).splitlines()), "lines")
    if "--goldens" in sys.argv:
        golden = ROOT / "tests/data/hub/cache.txt"
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(listing(their_cache))

    # Each uses what the other fetched, with and without a network.
    hub.control(clear=True)
    assert run(ours("theirs", "org/text")) == first and run(theirs("ours", "org/text")) == second
    assert not hub.log("resolve") and not hub.log("store"), hub.log("")
    hub.control(clear=True)
    environment["HF_HUB_OFFLINE"] = "1"
    assert run(ours("theirs", "org/text")) == first and run(theirs("ours", "org/text")) == second
    code = "import huggingface_hub as h; print(h.try_to_load_from_cache('org/text', 'tokenizer.json'))"
    assert "object" in run(start("ours", [sys.executable, "-c", code]))  # known not to exist: _CACHED_NO_EXIST
    code = "from transformers import AutoConfig, AutoModel as M; print(M.from_pretrained('org/text').config.hidden_size)"
    hidden = run(start("ours", [sys.executable, "-c", code]))
    config = run(start("theirs", [caracal, "config", "org/text"]))
    assert f'"hidden_size": {hidden}' in config and not hub.log("")
    del environment["HF_HUB_OFFLINE"]
    print("each uses the other's, online without a request for a file, offline without any")

    # Both at once, four of each, on one cache, slowly enough to meet.
    hub.control(clear=True, set={"bandwidth": 2_000_000})
    processes = [make("both", "org/large") for _ in range(4) for make in (theirs, ours)]
    assert len({run(process) for process in processes}) == 1
    fetched = hub.log("store GET")
    assert len(fetched) == 1, fetched
    hub.control(set={"bandwidth": 0})
    blobs = temporary / "both/hub/models--org--large/blobs"
    assert sorted(path.suffix for path in blobs.iterdir()) == ["", ""], list(blobs.iterdir())
    assert "0 problems" in run(start("both", [caracal, "cache", "verify"]))
    print("eight at once, four of each: one fetch")

    # Two repositories that share their shards: read, checked, and taken out by either, the last one with the files.
    share = """
import hashlib, os, sys
from pathlib import Path
from huggingface_hub import scan_cache_dir, snapshot_download
from huggingface_hub.utils import _shared_blobs as shared
cache, act, repo = Path(os.environ["HF_HOME"]) / "hub", *sys.argv[1:]
if act == "get":
    snapshot_download(repo)
    for blob in (cache / f"models--{repo.replace('/', '--')}/blobs").iterdir():
        xet_hash, size = hashlib.sha256(blob.name.encode()).hexdigest(), blob.stat().st_size
        assert shared.publish_blob_to_shared_store(
            blob_path=str(blob), xet_hash=xet_hash, cache_dir=cache, expected_size=size
        )
        assert blob.is_symlink()
if act == "rm":
    found = next(each for each in scan_cache_dir().repos if each.repo_id == repo)
    scan_cache_dir().delete_revisions(*(each.commit_hash for each in found.revisions)).execute()
print(len(shared.shared_store_blob_paths(cache)))
"""

    def python(act, repo):
        return int(run(start("shared", [sys.executable, "-c", share, act, repo])))

    def command(*arguments):
        return run(start("shared", [caracal, *arguments]))

    tensor = "embeddings.word_embeddings.weight"
    for last in ("ours", "theirs"):
        assert 1 < python("get", "org/shards") == python("get", "org/fork") - 1
        environment["HF_HUB_OFFLINE"] = "1"
        assert tensor in command("inspect", "org/shards") and tensor in command("inspect", "org/fork")
        assert "0 problems" in command("cache", "verify")
        del environment["HF_HUB_OFFLINE"]
        hub.control(clear=True)
        command("download", "org/fork")
        assert not hub.log("resolve") and not hub.log("store"), hub.log("")
        if last == "ours":
            python("rm", "org/shards")
            assert tensor in command("inspect", "org/fork")
            command("cache", "rm", "org/fork")
        else:
            command("cache", "rm", "org/shards")
            assert python("look", "org/fork") > 1 and tensor in command("inspect", "org/fork")
            python("rm", "org/fork")
        assert python("look", "org/fork") == 0
    print("shared files: read, checked and taken out by either")
    hub.process.stdin.close()
    hub.process.wait()
    shutil.rmtree(temporary)


if __name__ == "__main__":
    main()
