"""Which lists find neighbours: recall@10 and the share of all rows that is looked at, image -> image and text -> image, for lists made by pictures
(by inner product, as ours, and by direction: spherical k-means), by captions, and by pictures but found by the mean of their captions. Exact products within the lists, so that only the lists are judged.

    python3 -m venv v && v/bin/pip install faiss-cpu usearch hnswlib numpy
    v/bin/python tests/bench/search_lists.py [--rows 150000] [--lists 1024]
"""
import argparse

import faiss
import numpy as np

import search_peer


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=150000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--lists", type=int, default=1024)
    given = parser.parse_args()
    image, text = search_peer.drawn(given.rows + 1000, given.width)
    print(search_peer.shape_of(image, text))
    rows, captions, queries = image[:-1000], text[:-1000], {"image": image[-1000:], "text": text[-1000:]}
    truth = {way: np.argsort(-(q @ rows.T), 1)[:, :10] for way, q in queries.items()}

    def centroids(x, spherical=False):
        means = faiss.Clustering(given.width, given.lists)
        means.niter, means.spherical, means.max_points_per_centroid = 8, spherical, 64
        means.train(x, faiss.IndexFlatIP(given.width))
        return faiss.vector_to_array(means.centroids).reshape(given.lists, given.width)

    by_image, by_caption, by_direction = centroids(rows), centroids(captions), centroids(rows, True)
    in_image, in_caption, in_direction = (rows @ by_image.T).argmax(1), (captions @ by_caption.T).argmax(1), (rows @ by_direction.T).argmax(1)
    caption_means = np.zeros_like(by_image)
    np.add.at(caption_means, in_image, captions)
    caption_means /= np.maximum(np.bincount(in_image, minlength=given.lists), 1)[:, None]
    for way, name, lists, probe in (("image", "lists of pictures", in_image, by_image), ("text", "lists of pictures", in_image, by_image),
                                    ("image", "lists of pictures by direction", in_direction, by_direction),
                                    ("text", "lists of pictures by direction", in_direction, by_direction),
                                    ("text", "lists of pictures, found by the means of their captions", in_image, caption_means),
                                    ("text", "lists of captions", in_caption, by_caption)):
        sizes = np.bincount(lists, minlength=given.lists)
        order = np.argsort(-(queries[way] @ probe.T), 1)
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(given.lists)[None].repeat(len(order), 0), 1)
        needed = np.take_along_axis(rank, lists[truth[way]], 1)
        print(f"{way} -> image, {name}: " + ", ".join(
            f"{probes} lists {(needed < probes).mean():.3f} of {sizes[order[:, :probes]].sum(1).mean() / given.rows:.1%}" for probes in (16, 32, 64, 128, 256)))


if __name__ == "__main__":
    main()
