"""Hidden states on their way through the layers: in memory, on disk, or shared by several processes."""
