"""Asks a service through clip-retrieval's own client: URL INDEX TEXT PICTURE, in a Python that has it; prints the answers to both as JSON.

Its package imports what makes embeddings and indexes, too; the client stands in a module that needs requests alone.
"""
import importlib.util
import json
import pathlib
import sys


def main():
    url, index, text, picture = sys.argv[1:]
    package = importlib.util.find_spec("clip_retrieval")
    module = pathlib.Path(package.submodule_search_locations[0]) / "clip_client.py"
    specification = importlib.util.spec_from_file_location("clip_client", module)
    client_module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(client_module)
    client = client_module.ClipClient(url=url, indice_name=index, num_images=4)
    print(json.dumps([client.query(text=text), client.query(image=picture)]))


if __name__ == "__main__":
    main()
