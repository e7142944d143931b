"""Workflows as n8n imports them: a manual trigger, then nodes one after the other.

Knows: n8n's file format and the parameters of the nodes that are used.
Must not know: how a workflow is run, or which server it calls.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

Json = dict[str, Any]
CREDENTIAL = "openAiApi"


def credential(name: str, key: str, url: str) -> Json:
    """One of the kind «OpenAI»; workflows find it by its name."""
    data = {"apiKey": key, "url": url, "header": False}
    return {"id": name, "name": name, "type": CREDENTIAL, "data": data}


def workflow(name: str, *nodes: Json | Sequence[Json]) -> Json:
    """Nodes in a row behind a manual trigger; several in one place all get what comes before."""
    start = {"name": "Start", "type": "n8n-nodes-base.manualTrigger", "typeVersion": 1}
    row = [[node] if isinstance(node, dict) else node for node in (start, *nodes)]
    every = [
        {"id": node["name"], "position": [200 * x, 200 * y], "parameters": {}, **node}
        for x, column in enumerate(row)
        for y, node in enumerate(column)
    ]
    wires = {
        before[0]["name"]: {
            "main": [[{"node": node["name"], "type": "main", "index": 0} for node in after]]
        }
        for before, after in pairwise(row)
    }
    return {"id": name, "name": name, "nodes": every, "connections": wires, "settings": {}}


def read_file(path: Path) -> Json:
    """A file from disk as the binary `data`."""
    parameters = {"operation": "read", "fileSelector": str(path), "options": {}}
    return {
        "name": "File",
        "type": "n8n-nodes-base.readWriteFile",
        "typeVersion": 1.1,
        "parameters": parameters,
    }


def without_a_name() -> Json:
    """The binary again, as code makes one: bytes and a type, no file name."""
    code = """
        const bytes = await this.helpers.getBinaryDataBuffer(0, 'data');
        const data = { data: bytes.toString('base64'), mimeType: 'audio/ogg' };
        return [{ json: {}, binary: { data } }];
    """
    parameters = {"mode": "runOnceForAllItems", "language": "javaScript", "jsCode": code}
    return {
        "name": "Nameless",
        "type": "n8n-nodes-base.code",
        "typeVersion": 2,
        "parameters": parameters,
    }


def openai(operation: str, credential_name: str, **options: Any) -> Json:
    """The node *OpenAI → Audio*: `transcribe` or `translate`."""
    return {
        "name": "OpenAI",
        "type": "@n8n/n8n-nodes-langchain.openAi",
        "typeVersion": 2.3,
        "parameters": {"resource": "audio", "operation": operation, "options": options},
        "credentials": {CREDENTIAL: {"id": credential_name, "name": credential_name}},
    }


def http_request(
    url: str,
    credential_name: str,
    fields: Mapping[str, str],
    *,
    name: str = "HTTP Request",
    with_file: bool = True,
) -> Json:
    """The node *HTTP Request*: a form with the binary `data` as `file`, and further fields."""
    file = {"parameterType": "formBinaryData", "name": "file", "inputDataFieldName": "data"}
    texts = [{"name": name, "value": value} for name, value in fields.items()]
    parameters = {
        "method": "POST",
        "url": url,
        "authentication": "predefinedCredentialType",
        "nodeCredentialType": CREDENTIAL,
        "sendBody": True,
        "contentType": "multipart-form-data",
        "bodyParameters": {"parameters": ([file] if with_file else []) + texts},
        "options": {},
    }
    return {
        "name": name,
        "type": "n8n-nodes-base.httpRequest",
        "typeVersion": 4.5,
        "parameters": parameters,
        "credentials": {CREDENTIAL: {"id": credential_name, "name": credential_name}},
    }
