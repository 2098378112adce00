# A receiver of webhooks in Python alone: `SECRET=whsec_… python3 docs/examples/receiver.py [port]`
import base64
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = base64.b64decode(os.environ["SECRET"].removeprefix("whsec_"))


def verify(body, headers):
    """The event, if one of the signatures is right and no older than five minutes; else ValueError."""
    message_id, timestamp = headers["webhook-id"] or "", headers["webhook-timestamp"] or ""
    if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > 300:
        raise ValueError("too old, or no webhook-timestamp")
    digest = hmac.digest(KEY, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    expected = b"v1," + base64.b64encode(digest)
    signatures = (headers["webhook-signature"] or "").encode().split()
    if not any(hmac.compare_digest(expected, signature) for signature in signatures):
        raise ValueError("no matching signature")
    return json.loads(body)


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        try:
            event = verify(body, self.headers)
        except ValueError as error:
            self.send_error(400, str(error))
            return
        print(self.headers["webhook-id"], event, flush=True)
        self.send_response(204)
        self.end_headers()


ThreadingHTTPServer(("127.0.0.1", int((sys.argv + ["9000"])[1])), Receiver).serve_forever()
