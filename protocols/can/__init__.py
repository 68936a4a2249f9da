"""CAN: SocketCAN structs, databases compiled to a vector decoder, ISO-TP, UDS."""
