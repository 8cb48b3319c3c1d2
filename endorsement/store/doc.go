// Package store keeps what vendors sign about their platforms, by content:
// every object lies in a file named after its SHA-256, and a small index file
// for each request says which objects answered it, from where and when.
//
// The same layout is the cache in a user's cache folder, a folder that is
// carried to a machine without a network, and a zip of that folder. Reading
// (Archive) believes nothing: an object whose digest or an index whose form is
// wrong counts as absent, so a torn write or a bad disk costs another fetch
// and never a wrong answer. Writing (Folder) is atomic file by file and needs
// no lock between processes.
//
// The store does not judge. Signatures and dates are for package attest.
package store
