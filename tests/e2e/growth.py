"""Whether an agent lives, by a file that it makes grow."""

import os
import subprocess
import time


class Growth:
    def wait_for_growth(self, path):
        for _ in range(600):
            if os.path.exists(path) and os.path.getsize(path) > 5:
                return
            subprocess.run(["sleep", "0.1"], check=True)
        self.fail(f"{path} does not grow")

    def wait_for_end_of_growth(self, path):
        before = -1
        for _ in range(15):
            now = os.path.getsize(path) if os.path.exists(path) else -1
            if now == before and now >= 0:
                return
            before = now
            time.sleep(3)
        self.fail(f"{path} goes on to grow, or was never there")
