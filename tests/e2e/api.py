"""A small client of the JSON-RPC API, with a browser's cookie and CSRF token, over plain http.client."""

import http.client
import json

from harness import PASSWORD


class Session:
    def __init__(self, server, user, password=PASSWORD):
        self.http = http.client.HTTPConnection("127.0.0.1", server.port("http"), timeout=60)
        self.headers = {"Host": f"127.0.0.1:{server.port('http')}"}
        status, headers, body = self.request(
            "POST", "/auth/login", {"user": user, "password": password}
        )
        if status != 200:
            raise RuntimeError(f"login: {status} {body!r}")
        answer = json.loads(body)
        self.account = answer["account"]
        self.headers["Cookie"] = headers["Set-Cookie"].split(";")[0]
        self.headers["X-CSRF-Token"] = answer["csrf"]

    def request(self, method, path, body=None):
        headers = dict(self.headers)
        if body is not None:
            body = json.dumps(body)
            headers["Content-Type"] = "application/json"
        self.http.request(method, path, body, headers)
        answer = self.http.getresponse()
        return answer.status, answer.headers, answer.read()

    def call(self, method, **params):
        """One method; the result, or RuntimeError with what came instead."""
        if "/" in method:
            params.setdefault("accountId", self.account)
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        status, _, body = self.request("POST", "/rpc", request)
        answer = json.loads(body)
        if status != 200 or "result" not in answer:
            raise RuntimeError(f"{method}: {status} {answer}")
        return answer["result"]

    def all_email_ids(self):
        ids = []
        while True:
            page = self.call("Email/query", position=len(ids), limit=500, collapseThreads=False)["ids"]
            ids += page
            if not page:
                return ids

    def emails(self, ids, properties):
        found = []
        for at in range(0, len(ids), 200):
            found += self.call("Email/get", ids=ids[at : at + 200], properties=properties)["list"]
        return found

    def blob(self, blob_id):
        path = f"/blob/{self.account}/{blob_id}/letter.eml?type=message/rfc822"
        status, _, body = self.request("GET", path)
        if status != 200:
            raise RuntimeError(f"{path}: {status} {body[:200]!r}")
        return body

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.close()
