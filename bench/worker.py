"""A process that answers JSON requests, a line each; compare.py and end_to_end.py time one for each system."""

import json
import signal
import subprocess


class Worker:
    """Started with `command`; its first answer is `started`. Stopped (SIGSTOP) except while it answers, for idle pools keep
    spinning. Its stderr goes to the file `log`."""

    def __init__(self, command, environment, log):
        self.log = open(log, "w")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        env=environment)  # fmt: skip
        self.started = self.answer()
        self.version = self.started["version"]

    def answer(self):
        line = self.process.stdout.readline()
        reply = json.loads(line) if line else {"error": f"the worker died; see {self.log.name}"}
        if "error" in reply:
            raise RuntimeError(reply["error"])
        self.process.send_signal(signal.SIGSTOP)
        return reply

    def ask(self, **request):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
