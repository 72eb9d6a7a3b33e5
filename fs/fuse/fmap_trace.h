/* SPDX-License-Identifier: GPL-2.0 */
/*
 * DAX file maps: tracepoints. "connection" is the name of the connection's
 * directory in the control file system.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM fuse

#if !defined(_FS_FUSE_FMAP_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _FS_FUSE_FMAP_TRACE_H

#include "fmap_i.h"

#include <linux/tracepoint.h>

/* A map was attached to its file */
TRACE_EVENT(fuse_fmap_attach,
	TP_PROTO(const struct inode *inode, const struct fuse_fmap *map),

	TP_ARGS(inode, map),

	TP_STRUCT__entry(
		__field(dev_t,		connection)
		__field(u64,		nodeid)
		__field(u32,		segments)
		__field(u32,		memory)
		__field(u64,		file_size)
	),

	TP_fast_assign(
		__entry->connection	= inode->i_sb->s_dev;
		__entry->nodeid		= get_node_id((struct inode *)inode);
		__entry->segments	= map->nsegs;
		__entry->memory		= map->bytes;
		__entry->file_size	= map->file_size;
	),

	TP_printk("connection %u node %llu segments %u file_size %llu memory %u",
		  __entry->connection, __entry->nodeid, __entry->segments,
		  __entry->file_size, __entry->memory)
);

/* A map was refused, so the open fails */
TRACE_EVENT(fuse_fmap_refuse,
	TP_PROTO(const struct inode *inode, const struct fuse_fmap_msg *msg,
		 const char *why),

	TP_ARGS(inode, msg, why),

	TP_STRUCT__entry(
		__field(dev_t,		connection)
		__field(u64,		nodeid)
		__field(u32,		segment)
		__field(u32,		strip)
		__string(reason,	why)
	),

	TP_fast_assign(
		__entry->connection	= inode->i_sb->s_dev;
		__entry->nodeid		= get_node_id((struct inode *)inode);
		__entry->segment	= msg->seg;
		__entry->strip		= msg->strip;
		__assign_str(reason);
	),

	TP_printk("connection %u node %llu segment %u strip %u reason: %s",
		  __entry->connection, __entry->nodeid, __entry->segment,
		  __entry->strip, __get_str(reason))
);

/* A file position was resolved for a fault, a read or a write */
TRACE_EVENT(fuse_fmap_resolve,
	TP_PROTO(const struct inode *inode, loff_t pos,
		 const struct fuse_fmap_range *range),

	TP_ARGS(inode, pos, range),

	TP_STRUCT__entry(
		__field(dev_t,		connection)
		__field(u64,		nodeid)
		__field(loff_t,		pos)
		__field(u64,		offset)
		__field(u64,		len)
		__string(device,	range->dev->name)
	),

	TP_fast_assign(
		__entry->connection	= inode->i_sb->s_dev;
		__entry->nodeid		= get_node_id((struct inode *)inode);
		__entry->pos		= pos;
		__entry->offset		= range->offset;
		__entry->len		= range->len;
		__assign_str(device);
	),

	TP_printk("connection %u node %llu pos 0x%llx device %s offset 0x%llx len 0x%llx",
		  __entry->connection, __entry->nodeid, __entry->pos,
		  __get_str(device), __entry->offset, __entry->len)
);

/* An attempt to claim a device; error is 0 on success */
TRACE_EVENT(fuse_daxdev_register,
	TP_PROTO(const struct fuse_daxdev *dev, int error),

	TP_ARGS(dev, error),

	TP_STRUCT__entry(
		__field(dev_t,		connection)
		__field(u32,		index)
		__field(int,		error)
		__field(u64,		size)
		__field(bool,		readonly)
		__string(device,	dev->name)
	),

	TP_fast_assign(
		__entry->connection	= dev->fc->dev;
		__entry->index		= dev->index;
		__entry->error		= error;
		__entry->size		= dev->size;
		__entry->readonly	= dev->readonly;
		__assign_str(device);
	),

	TP_printk("connection %u index %u device %s size %llu readonly %d error %d",
		  __entry->connection, __entry->index, __get_str(device),
		  __entry->size, __entry->readonly, __entry->error)
);

/* The last reference to a device was dropped */
TRACE_EVENT(fuse_daxdev_free,
	TP_PROTO(const struct fuse_daxdev *dev),

	TP_ARGS(dev),

	TP_STRUCT__entry(
		__field(dev_t,		connection)
		__field(u32,		index)
		__field(bool,		removed)
		__string(device,	dev->name)
	),

	TP_fast_assign(
		__entry->connection	= dev->fc->dev;
		__entry->index		= dev->index;
		__entry->removed	= dev->dead;
		__assign_str(device);
	),

	TP_printk("connection %u index %u device %s removed %d",
		  __entry->connection, __entry->index, __get_str(device),
		  __entry->removed)
);

/* Bad memory in a device (event 0) or removal of the device (event 1) */
TRACE_EVENT(fuse_daxdev_failure,
	TP_PROTO(const struct fuse_daxdev *dev, u64 nodeid,
		 const struct fuse_dax_failure_in *what),

	TP_ARGS(dev, nodeid, what),

	TP_STRUCT__entry(
		__field(dev_t,		connection)
		__field(u32,		event)
		__field(u64,		offset)
		__field(u64,		len)
		__field(u64,		nodeid)
		__field(u64,		pos)
		__string(device,	dev->name)
	),

	TP_fast_assign(
		__entry->connection	= dev->fc->dev;
		__entry->event		= what->event;
		__entry->offset		= what->offset;
		__entry->len		= what->len;
		__entry->nodeid		= nodeid;
		__entry->pos		= what->pos;
		__assign_str(device);
	),

	TP_printk("connection %u device %s event %u offset 0x%llx len 0x%llx node %llu pos 0x%llx",
		  __entry->connection, __get_str(device), __entry->event,
		  __entry->offset, __entry->len, __entry->nodeid, __entry->pos)
);

#endif /* _FS_FUSE_FMAP_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE fmap_trace
#include <trace/define_trace.h>
