// SPDX-License-Identifier: GPL-2.0
/*
 * A module that goes wrong when it is loaded, in the way that what= names: for the test of what
 * qemu/vm makes of it.
 */
#include <linux/irqflags.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/string.h>

static char *what = "nothing";
module_param(what, charp, 0);

static noinline int crash_oops(int *nowhere)
{
	return *nowhere;
}

static int __init crash_init(void)
{
	int *volatile nowhere = NULL;

	if (!strcmp(what, "oops"))
		return crash_oops(nowhere);
	if (!strcmp(what, "panic"))
		panic("crash: as asked");
	if (!strcmp(what, "warn"))
		WARN(1, "crash: as asked\n");
	if (!strcmp(what, "hang")) {
		pr_info("crash: as asked\n");
		local_irq_disable();
		for (;;)
			cpu_relax();
	}
	return 0;
}

static void __exit crash_exit(void)
{
}

module_init(crash_init);
module_exit(crash_exit);
MODULE_DESCRIPTION("goes wrong when told to");
MODULE_LICENSE("GPL");
