#!/bin/sh
# Lets a node that believes itself parted from nodes which it reaches again join them anew. Runs beside the cluster.
#
#   rejoin.sh NODE [NODE ...]        for example rabbit@broker-1 rabbit@broker-2 rabbit@broker-3
#
# A node that was frozen, with its host or by a hypervisor, wakes up parted: `pause_minority` acts when nodes go, and none
# goes any more. What was declared or bound meanwhile then differs from node to node, until the odd one starts anew.
# One look is one eval on one node. Nothing is done while any node does not answer: then the partition is still real, or
# a node is booting. Nothing is done on a single look either. It fails safe: without it, a person restarts the node.
set -u
LOOK_S=10

# The node with most disagreement, if all members of the cluster answer and any disagree; else none.
odd='Ns = rabbit_nodes:list_members(),
P = [{N, V} || N <- Ns, V <- [rpc:call(N, rabbit_node_monitor, partitions, [], 5000)], is_list(V)],
Blame = [{length(V) + length([1 || {_, W} <- P, lists:member(N, W)]), N} || {N, V} <- P],
case lists:reverse(lists:sort(Blame)) of [{B, N} | _] when B > 0, length(P) =:= length(Ns) -> N; _ -> none end.'

look() {
  for node in "$@"; do
    if said=$(rabbitmqctl --quiet --node "$node" --timeout 20 eval "$odd" 2>/dev/null); then
      echo "$said" | tr -d "'"
      return
    fi
  done
  echo none
}

before=none
while sleep "$LOOK_S"; do
  now=$(look "$@")
  if [ "$now" != none ] && [ "$now" = "$before" ]; then
    echo "$now is parted from nodes that it reaches: it joins them anew"
    rabbitmqctl --quiet --node "$now" stop_app && rabbitmqctl --quiet --node "$now" start_app && echo "$now is back"
    now=none
  fi
  before=$now
done
