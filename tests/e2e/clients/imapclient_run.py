"""What a program on IMAPClient does; prints one JSON object. `imapclient_run.py PORT USER PASSWORD tls|plain`"""

import hashlib
import json
import ssl
import sys

import imapclient

port, user, password, how = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
LETTER = "From: bob@example.test\r\nSubject: IMAPClient\r\n\r\nzażółć\r\n".encode()
FOLDER = "Gęśla/Jaźń"
with imapclient.IMAPClient("127.0.0.1", port=port, ssl=False, timeout=30) as client:
    if how == "tls":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client.starttls(context)
    client.login(user, password)
    client.select_folder("INBOX", readonly=True)
    rows = client.fetch(client.search("ALL"), ["BODY.PEEK[]", "ENVELOPE", "BODYSTRUCTURE", "FLAGS", "INTERNALDATE"])
    sums = [hashlib.sha256(row[b"BODY[]"]).hexdigest() for _, row in sorted(rows.items())]
    whole = all(row[b"ENVELOPE"] and row[b"BODYSTRUCTURE"] for row in rows.values())
    client.create_folder(FOLDER)
    names = [name for _, _, name in client.list_folders()]
    client.append(FOLDER, LETTER, flags=[rb"\Seen"])
    client.select_folder(FOLDER)
    [uid] = client.search(["SEEN"])
    back = client.fetch([uid], ["BODY[]"])[uid][b"BODY[]"] == LETTER
    client.add_flags([uid], [rb"\Flagged", b"waga"])
    flags = sorted(flag.decode() for flag in client.get_flags([uid])[uid])
    client.delete_messages([uid])
    client.expunge()
    left = client.search("ALL")
    client.idle()
    heard = client.idle_check(timeout=0.1)
    client.idle_done()
    client.close_folder()
    client.delete_folder(FOLDER)
    print(json.dumps({"sums": sums, "whole": whole, "made": FOLDER in names, "back": back, "flags": flags, "left": left, "heard": heard}))
