/* SPDX-License-Identifier: MIT */
/*
 * The contract in machine-readable form: the google.protobuf.FileDescriptorSet of chord.v1 with
 * its imports, as MetaService.GetFileDescriptorSet hands it out. Generated at build time.
 */
#ifndef CHORD_RPC_DESCRIPTOR_H
#define CHORD_RPC_DESCRIPTOR_H

#include <stddef.h>
#include <stdint.h>

extern const uint8_t rpc_descriptor_set[];
extern const size_t rpc_descriptor_set_bytes;

#endif
