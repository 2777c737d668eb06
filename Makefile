# SPDX-License-Identifier: GPL-2.0
#
# Every user command. `make help` lists them.

KDIR ?= /lib/modules/$(shell uname -r)/build
kbuild = $(MAKE) -C $(KDIR) M=$(CURDIR) $(if $(MO),MO=$(abspath $(MO)))

.PHONY: all modules modules_install rust-analyzer clean
all: modules

modules modules_install rust-analyzer clean:
	+$(kbuild) $@
