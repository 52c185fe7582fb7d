"""Run by the Python of .trireme/tests, which has PyYAML and kubernetes-validate (docker/dependencies.txt, kind python-test).

manifests.py load FILE     the documents of a YAML file as a JSON list
manifests.py validate      a JSON list of core resources from stdin; the faults as a JSON list, one text per document ("": none)
"""
import json
import sys


def validate(document):
    import kubernetes_validate
    try:
        kubernetes_validate.validate(document, "1.33", strict=True)
        return ""
    except kubernetes_validate.ValidationError as fault:
        return str(fault)


if sys.argv[1] == "load":
    import yaml
    with open(sys.argv[2]) as file:
        json.dump(list(yaml.safe_load_all(file)), sys.stdout)
else:
    json.dump([validate(document) for document in json.load(sys.stdin)], sys.stdout)
